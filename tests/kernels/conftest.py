"""Lets the tests of every implementation share one suite."""

import pathlib
import sys

import pytest

pytest.register_assert_rewrite("deform_attn_suite")
sys.path.insert(0, str(pathlib.Path(__file__).parent))
