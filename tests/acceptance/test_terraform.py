"""Terraform's AWS provider, unmodified: apply, an empty plan, a change in place, destroy.

Needs `terraform` on the path and the provider, either from its registry or in a mirror that TF_CLI_CONFIG_FILE names. The provider
itself waits 25 seconds after each change of a queue, so this takes minutes.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

CONFIGURATION = pathlib.Path(__file__).parent / "terraform" / "main.tf"


class Terraform:
    def __init__(self, node, folder):
        self.folder = folder
        shutil.copy(CONFIGURATION, folder)
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.env = {**os.environ, **keys, "AWS_ENDPOINT_URL": node.endpoint, "TF_IN_AUTOMATION": "1"}

    def run(self, *args, expected=0):
        command = ["terraform", *args, "-no-color"]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=600)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    def is_ready(self):
        command = ["terraform", "init", "-no-color", "-input=false"]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=600)
        return done.returncode == 0


def test_terraform_applies_plans_nothing_changes_in_place_and_destroys(node, tmp_path):
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    terraform = Terraform(node, tmp_path)
    if not terraform.is_ready():
        pytest.skip("Terraform's AWS provider cannot be had here: set TF_CLI_CONFIG_FILE to a mirror")
    assert "16 added, 0 changed" in terraform.run("apply", "-auto-approve", "-var=visibility_timeout=45")
    # 0 is "nothing to do" where 2 is "changes": what we answer is what was asked for.
    terraform.run("plan", "-detailed-exitcode", "-var=visibility_timeout=45")
    assert "0 added, 1 changed" in terraform.run("apply", "-auto-approve", "-var=visibility_timeout=60")
    url = node.client("sqs").get_queue_url(QueueName="tf-main")["QueueUrl"]
    kept = node.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert kept == {"VisibilityTimeout": "60"}
    assert "16 destroyed" in terraform.run("destroy", "-auto-approve", "-var=visibility_timeout=60")
    assert "QueueUrls" not in node.client("sqs").list_queues()
    assert node.client("iam").list_roles(PathPrefix="/")["Roles"] == []
