"""The library's trainings and combinations, each in an MLflow run.

Only ``store``, ``ready``, ``fetch`` and ``finished`` import mlflow.
"""
