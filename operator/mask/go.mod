module spacelift-aws-mask

go 1.26.0
