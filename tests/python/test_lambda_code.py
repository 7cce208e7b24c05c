"""Code of functions from S3, functions that write to S3, and outcomes that go to topics."""

import json

from test_lambda_invoke import FAILS, received
from test_lambda_made import ECHO, Functions, allow, eventually, functions, package, refused  # noqa: F401

SAYS_TWO = "def handler(event, context):\n    return 2\n"


def bucket_of(node, name):
    bucket = name("bucket").lower().replace("_", "-")
    node.client("s3").create_bucket(Bucket=bucket)
    return bucket


def test_code_comes_from_s3_as_the_caller_may_read_it(node, functions, name):
    lambda_, s3, bucket = functions.lambda_, node.client("s3"), bucket_of(node, name)
    s3.put_object(Bucket=bucket, Key="one.zip", Body=package(ECHO))
    s3.put_object(Bucket=bucket, Key="two.zip", Body=package(SAYS_TWO))
    fn = functions.create(Code={"S3Bucket": bucket, "S3Key": "one.zip"})
    assert functions.invoke(fn, 1) == 1
    lambda_.update_function_code(FunctionName=fn, S3Bucket=bucket, S3Key="two.zip")
    assert functions.invoke(fn, 1) == 2
    layer = lambda_.publish_layer_version(LayerName=name("layer"), Content={"S3Bucket": bucket, "S3Key": "one.zip"})
    assert layer["Content"]["CodeSize"] == len(package(ECHO))

    def said(**code):
        return refused(lambda_.update_function_code, FunctionName=fn, **code)

    code, message = said(S3Bucket=bucket, S3Key="none.zip")
    assert code == "InvalidParameterValueException"
    assert message.startswith("Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message:")
    code, message = said(S3Bucket=name("none").lower().replace("_", "-"), S3Key="k")
    assert code == "InvalidParameterValueException" and "S3 Error Code: NoSuchBucket" in message
    s3.put_object(Bucket=bucket, Key="bad.zip", Body=b"not a zip")
    assert said(S3Bucket=bucket, S3Key="bad.zip")[1].startswith("Could not unzip uploaded file")

    user = functions.iam.create_user(UserName=name("user"))["User"]["UserName"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow("lambda:*")]})
    functions.iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy)
    key = functions.iam.create_access_key(UserName=user)["AccessKey"]
    other = node.client("lambda", key["AccessKeyId"], key["SecretAccessKey"])
    code, message = refused(other.update_function_code, FunctionName=fn, S3Bucket=bucket, S3Key="one.zip")
    assert code == "AccessDeniedException" and message.startswith("Your access has been denied by S3")


# Signs by hand what an SDK would: the test needs no installed SDK.
WRITES = """
import datetime, hashlib, hmac, os, urllib.error, urllib.request

def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

def handler(event, context):
    url = os.environ["AWS_ENDPOINT_URL"]
    host = url.split("//")[1]
    now = datetime.datetime.utcnow()
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    body = b"a log line"
    path = "/" + event["bucket"] + "/log.txt"
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp, "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    names = ";".join(sorted(headers))
    canonical = "\\n".join(["PUT", path, ""] + ["%s:%s" % (k, headers[k]) for k in sorted(headers)] + ["", names, digest])
    scope = day + "/us-east-1/s3/aws4_request"
    to_sign = "\\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = sign(key, part)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (os.environ["AWS_ACCESS_KEY_ID"], scope, names, signature)
    request = urllib.request.Request(url + path, data=body, method="PUT", headers=headers)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return [error.code, "AccessDenied" in error.read().decode()]
"""


def test_a_function_writes_to_s3_once_its_role_may_as_app_21_says(node, functions, name):
    bucket = bucket_of(node, name)
    role = functions.role(allow("logs:*"))
    fn = functions.create(WRITES, Role=role, Timeout=30, MemorySize=1024)
    assert functions.invoke(fn, {"bucket": bucket}) == [403, True]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*")]})
    functions.iam.put_role_policy(RoleName=role.split("/")[-1], PolicyName="s3", PolicyDocument=policy)
    assert functions.invoke(fn, {"bucket": bucket}) == 200
    assert node.client("s3").get_object(Bucket=bucket, Key="log.txt")["Body"].read() == b"a log line"


def test_outcomes_and_dead_letters_go_to_topics(node, functions, name):
    sns, sqs = node.client("sns"), node.client("sqs")
    topic = sns.create_topic(Name=name("topic"))["TopicArn"]
    url, queue = functions.queue()
    policy = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [policy]})})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    lambda_ = functions.lambda_
    bare = functions.create(FAILS, Role=functions.role())
    destinations = {"OnFailure": {"Destination": topic}}
    code, message = refused(lambda_.put_function_event_invoke_config, FunctionName=bare, DestinationConfig=destinations)
    assert code == "InvalidParameterValueException" and "Publish" in message

    fn = functions.create(FAILS, Role=functions.role(allow("sns:Publish"), allow("logs:*")), DeadLetterConfig={"TargetArn": topic})
    lambda_.put_function_event_invoke_config(FunctionName=fn, MaximumRetryAttempts=0, DestinationConfig=destinations)
    lambda_.invoke(FunctionName=fn, InvocationType="Event", Payload=b'{"a": 1}')
    got = [json.loads(message["Body"]) for message in received(sqs, url, 2)]
    bodies = [json.loads(one["Message"]) for one in got]
    record = next(body for body in bodies if "requestContext" in body)
    assert record["requestContext"]["condition"] == "RetriesExhausted" and record["requestPayload"] == {"a": 1}
    letter = next(one for one in got if json.loads(one["Message"]) == {"a": 1})
    assert letter["MessageAttributes"]["ErrorMessage"]["Value"] == "no"
