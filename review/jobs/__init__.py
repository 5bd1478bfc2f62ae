"""Run the jobs of the worker process, such as imports, rankings and training."""
