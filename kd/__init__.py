"""kd: knowledge distillation with specialists, after Hinton, Vinyals and Dean (2015), tracked in MLflow."""

__version__ = "0.1.0"
