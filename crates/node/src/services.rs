//! Every service of this cloud. Adding one here is all that the rest needs: routing, IAM actions, coverage follow.

use pileus_platform::Service;

pub fn all() -> Vec<Service> {
    vec![
        pileus_svc_apigateway::service(),
        pileus_svc_apigateway::v2(),
        pileus_svc_apigateway::management(),
        pileus_svc_dynamodb::service(),
        pileus_svc_dynamodb::streams(),
        pileus_svc_ec2::service(),
        pileus_svc_iam::service(),
        pileus_svc_lambda::service(),
        pileus_svc_logs::service(),
        pileus_svc_s3::service(),
        pileus_svc_s3::control(),
        pileus_svc_sns::service(),
        pileus_svc_sqs::service(),
        pileus_svc_sts::service(),
    ]
}
