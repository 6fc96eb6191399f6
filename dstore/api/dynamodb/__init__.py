"""The DynamoDB API: `POST /`, one file per operation in `actions/`."""
