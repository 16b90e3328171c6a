from tests.integration.conftest import appliance

__all__ = ["appliance"]
