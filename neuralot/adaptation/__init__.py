"""Domain adaptation: learn from labelled source rows, predict target rows, with a transport in between."""

from neuralot.adaptation.domain_adapter import DomainAdapter
from neuralot.adaptation.transport_adapter import TransportAdapter

__all__ = ["DomainAdapter", "TransportAdapter"]
