# The same as role.yaml.

variable "operator_role_arn" {
  type        = string
  description = "The operator's own role"
}

variable "installation" {
  type        = string
  description = "The chart's value `installation`"
}

variable "namespace" {
  type        = string
  description = "The namespace of the AwsIntegration"
}

variable "integration" {
  type        = string
  description = "The name of the AwsIntegration"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [var.operator_role_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = ["${var.installation}@${var.namespace}@${var.integration}"]
    }
  }
}

resource "aws_iam_role" "runs" {
  name               = "${var.namespace}-${var.integration}"
  path               = "/spacelift/"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

# What the Runs may do.
resource "aws_iam_role_policy_attachment" "read" {
  role       = aws_iam_role.runs.name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

output "role_arn" {
  value = aws_iam_role.runs.arn # for spec.roleArn of the AwsIntegration
}
