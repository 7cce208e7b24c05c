"""For each picture that is uploaded: a thumbnail, a grayscale picture of the same size, and a row that describes them."""

import io
import os
import urllib.parse

import boto3
from PIL import Image

s3 = boto3.client("s3")
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
OUT = os.environ["OUT"]
BOX = (160, 160)


def jpeg(image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        image = Image.open(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        small = image.convert("RGB")
        small.thumbnail(BOX)
        made = {f"thumbnail/{key}": small, f"grayscale/{key}": image.convert("L")}
        for name, picture in made.items():
            s3.put_object(Bucket=OUT, Key=name, Body=jpeg(picture), ContentType="image/jpeg")
        width, height = image.size
        table.put_item(Item={"picture": key, "width": width, "height": height, "made": sorted(made)})
