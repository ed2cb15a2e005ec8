"""Diagnosis of transports: certificates that need no ground truth."""

from neuralot.diagnostics.conditional import ConditionalReport
from neuralot.diagnostics.diagnose import diagnose
from neuralot.diagnostics.report import TransportReport, Verdict

__all__ = ["ConditionalReport", "TransportReport", "Verdict", "diagnose"]
