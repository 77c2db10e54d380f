"""Evaluation of a model on labeled volumes: every labeled object, simulated prompts, one result a row of a table."""

from ..bootstrap import median_interval
from .cases import EvaluationCase, EvaluationError, read_cases
from .objects import ObjectEvaluation, evaluate_case
from .processes import EvaluationProcesses, join_evaluation
from .results import ObjectResult, VariantResult
from .settings import SessionSettings
from .variants import evaluate_variants

__all__ = [
    "EvaluationCase",
    "EvaluationError",
    "EvaluationProcesses",
    "ObjectEvaluation",
    "ObjectResult",
    "SessionSettings",
    "VariantResult",
    "evaluate_case",
    "evaluate_variants",
    "join_evaluation",
    "median_interval",
    "read_cases",
]
