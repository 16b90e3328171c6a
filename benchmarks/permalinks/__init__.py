"""The permalink role beside the design that SageMathCell has, and beside nginx serving files."""
