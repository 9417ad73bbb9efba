"""The library's trainings and combinations, each in an MLflow run. Only ``store`` imports mlflow."""
