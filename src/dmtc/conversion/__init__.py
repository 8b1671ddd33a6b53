"""Label files of annotation tools, converted to the folders of images and masks that `dataset=folder` reads."""

from dmtc.conversion.converting import Conversion, Converted, convert
from dmtc.conversion.formats import FORMATS
from dmtc.conversion.summary import conversion_summary

__all__ = ["FORMATS", "Conversion", "Converted", "conversion_summary", "convert"]
