"""The library's trainings and combinations, each in an MLflow run. Only ``store`` and ``ready`` import mlflow."""
