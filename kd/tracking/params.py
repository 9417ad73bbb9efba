"""The one form of a value as text, in flags, MLproject and MLflow's params alike."""


def canonical(value: object) -> str:
    """Return a value as text: 4.0 is ``4``, True is ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)
