"""The library's acts, each in an MLflow run. Only ``store`` imports mlflow."""
