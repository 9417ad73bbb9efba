"""The library's trainings and combinations, each in an MLflow run.

``pyproject.toml`` names the few files that import mlflow.
"""
