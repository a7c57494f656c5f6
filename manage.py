#!/usr/bin/env python
"""Entry point of eltsite's management commands."""

import os
import sys

from django.core.management import execute_from_command_line
from environs import EnvError

from eltsite.crypto import KeyFault

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eltsite.settings")
    try:
        execute_from_command_line(sys.argv)
    except (EnvError, KeyFault) as fault:
        sys.exit(f"eltsite cannot start: {fault}")
