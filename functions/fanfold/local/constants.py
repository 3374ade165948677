"""Where the embedded AWS is: moto's account, and one region."""

ACCOUNT = "123456789012"
REGION = "us-east-1"
FUNCTION_ARNS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
