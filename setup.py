"""Find the packages; everything else is in setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["membrane", "membrane.*"]), "membrane._weights"])
