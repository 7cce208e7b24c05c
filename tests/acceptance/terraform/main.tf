# What a small team keeps in Terraform: queues with their policies, roles, users. No word about where the cloud is: the environment says it.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region = "us-east-1"
}
variable "visibility_timeout" {
  type = number
}

resource "aws_sqs_queue" "dlq" {
  name                      = "tf-dlq"
  message_retention_seconds = 1209600
}
resource "aws_sqs_queue" "q" {
  name                       = "tf-main"
  visibility_timeout_seconds = var.visibility_timeout
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dlq.arn, maxReceiveCount = 3 })
  tags                       = { team = "a" }
}
resource "aws_sqs_queue" "f" {
  name                        = "tf.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
}
resource "aws_sqs_queue_policy" "p" {
  queue_url = aws_sqs_queue.q.id
  policy    = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "sqs:SendMessage", Resource = aws_sqs_queue.q.arn }] })
}
resource "aws_sqs_queue_redrive_allow_policy" "r" {
  queue_url            = aws_sqs_queue.dlq.id
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.q.arn] })
}
data "aws_caller_identity" "me" {}
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}
resource "aws_iam_role" "fn" {
  name               = "tf-fn"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = { a = "b" }
}
resource "aws_iam_role_policy_attachment" "basic" {
  role       = aws_iam_role.fn.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}
resource "aws_iam_role_policy" "inline" {
  role   = aws_iam_role.fn.id
  name   = "send"
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sqs:SendMessage", Resource = aws_sqs_queue.q.arn }] })
}
resource "aws_iam_policy" "m" {
  name   = "tf-managed"
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sqs:*", Resource = "*" }] })
}
resource "aws_iam_user" "u" {
  name          = "tf-user"
  force_destroy = true
}
resource "aws_iam_access_key" "k" { user = aws_iam_user.u.name }
resource "aws_iam_group" "g" { name = "tf-group" }
resource "aws_iam_group_membership" "gm" {
  name  = "m"
  users = [aws_iam_user.u.name]
  group = aws_iam_group.g.name
}
resource "aws_iam_user_policy_attachment" "ua" {
  user       = aws_iam_user.u.name
  policy_arn = aws_iam_policy.m.arn
}
resource "aws_iam_instance_profile" "ip" {
  name = "tf-ip"
  role = aws_iam_role.fn.name
}
resource "aws_iam_account_password_policy" "pp" {
  minimum_password_length = 12
}
output "who" { value = data.aws_caller_identity.me.arn }
