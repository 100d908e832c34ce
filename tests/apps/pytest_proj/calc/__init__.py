from .operations import add

__all__ = ["add"]
