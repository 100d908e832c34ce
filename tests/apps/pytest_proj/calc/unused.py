"""Neither the package nor its tests import this."""
