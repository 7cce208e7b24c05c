"""Draws the badge of an entry that the topic tells of, and puts it into the site's bucket.

A message may come twice: the same entry gives the same badge under the same name.
"""

import io
import json
import os
import time

import boto3
import qrcode
from PIL import Image, ImageDraw, ImageFont

TABLE, BUCKET = os.environ["TABLE"], os.environ["BUCKET"]
# Tells how slow a badge may be without anybody waiting for it.
SECONDS = float(os.environ.get("SECONDS", "0"))
table = boto3.resource("dynamodb").Table(TABLE)
s3 = boto3.client("s3")

SIZE = (800, 480)
INK, PAPER, BAND = (33, 37, 41), (255, 255, 255), (63, 81, 181)


def fitted(draw, text, size, width):
    """The largest font, down from `size`, in which the text is no wider than `width`."""
    while size > 14:
        font = ImageFont.load_default(size=size)
        if draw.textlength(text, font=font) <= width:
            return font
        size -= 2
    return ImageFont.load_default(size=size)


def badge(entry) -> bytes:
    image = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIZE[0], 90), fill=BAND)
    draw.text((40, 24), entry["conference"], fill=PAPER, font=fitted(draw, entry["conference"], 40, 720))
    draw.text((40, 170), entry["name"], fill=INK, font=fitted(draw, entry["name"], 56, 440))
    draw.text((40, 260), entry["company"], fill=INK, font=fitted(draw, entry["company"], 34, 440))
    draw.text((40, 420), entry["id"], fill=INK, font=ImageFont.load_default(size=16))
    code = qrcode.QRCode(box_size=8, border=2)
    code.add_data(entry["id"])
    picture = code.make_image(fill_color="black", back_color="white").convert("RGB").resize((280, 280))
    image.paste(picture, (490, 130))
    png = io.BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


def handler(event, context):
    for record in event["Records"]:
        told = json.loads(record["Sns"]["Message"])
        key = {"conference": told["conference"], "id": told["id"]}
        entry = table.get_item(Key=key).get("Item")
        if entry is None:
            print("there is no entry", told["id"])
            continue
        time.sleep(SECONDS)
        name = f"badges/{entry['id']}.png"
        s3.put_object(Bucket=BUCKET, Key=name, Body=badge(entry), ContentType="image/png")
        table.update_item(
            Key=key,
            UpdateExpression="SET badge = :badge, #status = :done",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":badge": name, ":done": "badge drawn"},
        )
        print("drew", name)
