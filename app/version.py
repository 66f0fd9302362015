"""The version of this Moodline."""

from importlib.metadata import version

VERSION = version("moodline")
