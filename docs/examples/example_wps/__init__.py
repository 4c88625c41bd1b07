"""A plugin for this service only."""


def WPSClassFactory(iface):
    """The service asks for the providers."""
    from .providers import Numbers, Parts

    iface.registerProvider(Numbers())
    # What models and scripts may run, and clients may not.
    iface.registerProvider(Parts(), expose=False)
