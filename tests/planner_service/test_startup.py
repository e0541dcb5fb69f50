"""What the planner's process loads."""

import subprocess
import sys

STARTS_AND_PLANS = """
import sys
import planner_service.main
from planner_service.parser.planner import Parser
from planner_service.reasoning import Request, plan
plan(Parser(), Request("a dog runs to the left", 9, 720, 480, 0))
print([name for name in ("spacy", "torch") if name in sys.modules])
import torch
"""


def test_torch_is_not_loaded_with_spacy_and_can_be_later():
    done = subprocess.run([sys.executable, "-c", STARTS_AND_PLANS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['spacy']"
