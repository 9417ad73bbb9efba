"""The search: an Optuna study over temperature, alpha, width and what a user names. Nothing else imports Optuna."""
