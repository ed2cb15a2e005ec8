"""Domain adaptation by a transport between source and target."""

from neuralot.adaptation.domain_adapter import DomainAdapter
from neuralot.adaptation.transport_adapter import TransportAdapter

__all__ = ["DomainAdapter", "TransportAdapter"]
