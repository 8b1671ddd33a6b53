"""The command `dmtc` in a checkout.

python run.py                                    train DMTC on the built-in data set
python run.py dataset=folder dataset.root=DIR    train on your own pictures
python run.py --help                             everything that can be swapped
"""

from dmtc.cli.main import main

if __name__ == "__main__":
    main()
