"""Diagnosis of transports: certificates that need no ground truth."""

from neuralot.diagnostics.diagnose import diagnose
from neuralot.diagnostics.report import TransportReport, Verdict

__all__ = ["TransportReport", "Verdict", "diagnose"]
