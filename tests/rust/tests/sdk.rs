//! The AWS SDK for Rust, unmodified, against one node in memory.

mod node;

use aws_sdk_sqs::types::QueueAttributeName;
use node::Node;

#[tokio::test]
async fn the_caller_of_an_unknown_key_is_root_of_the_default_account() {
    let node = Node::start();
    let sts = aws_sdk_sts::Client::new(&node.config("test", "test", None).await);
    let me = sts.get_caller_identity().send().await.expect("anyone may ask who they are");
    assert_eq!(me.account(), Some("000000000000"));
    assert_eq!(me.arn(), Some("arn:aws:iam::000000000000:root"));
}

#[tokio::test]
async fn a_message_is_sent_received_and_deleted() {
    let node = Node::start();
    let sqs = aws_sdk_sqs::Client::new(&node.config("test", "test", None).await);
    let queue = sqs.create_queue().queue_name("orders").send().await.expect("a queue");
    let url = queue.queue_url().expect("its URL");
    // The SDK compares the MD5 of what it sent with the answer's.
    sqs.send_message().queue_url(url).message_body("one & <two>").send().await.expect("sent");
    let received = sqs.receive_message().queue_url(url).wait_time_seconds(1).send().await.expect("received");
    let message = received.messages().first().expect("one message");
    assert_eq!(message.body(), Some("one & <two>"));
    let receipt = message.receipt_handle().expect("a receipt handle");
    sqs.delete_message().queue_url(url).receipt_handle(receipt).send().await.expect("deleted");
    let left = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .send()
        .await
        .expect("attributes");
    let left =
        left.attributes().and_then(|all| all.get(&QueueAttributeName::ApproximateNumberOfMessagesNotVisible));
    assert_eq!(left.map(String::as_str), Some("0"));
}

#[tokio::test]
async fn a_missing_queue_is_the_modelled_error() {
    let node = Node::start();
    let sqs = aws_sdk_sqs::Client::new(&node.config("test", "test", None).await);
    let refused = sqs.get_queue_url().queue_name("absent").send().await.expect_err("no such queue");
    assert!(refused.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()), "{refused:?}");
}

#[tokio::test]
async fn a_role_may_do_what_its_policy_says_and_nothing_else() {
    let node = Node::start();
    let root = node.config("test", "test", None).await;
    let iam = aws_sdk_iam::Client::new(&root);
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}]}"#;
    let role = iam
        .create_role()
        .role_name("reader")
        .assume_role_policy_document(trust)
        .send()
        .await
        .expect("a role");
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:ListQueues","Resource":"*"}]}"#;
    iam.put_role_policy()
        .role_name("reader")
        .policy_name("list")
        .policy_document(allow)
        .send()
        .await
        .expect("its policy");
    let arn = role.role().expect("the role").arn();
    let session = aws_sdk_sts::Client::new(&root)
        .assume_role()
        .role_arn(arn)
        .role_session_name("tests")
        .send()
        .await
        .expect("a session");
    let key = session.credentials().expect("credentials");
    let config = node.config(key.access_key_id(), key.secret_access_key(), Some(key.session_token())).await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    sqs.list_queues().send().await.expect("allowed by its policy");
    let refused = sqs.create_queue().queue_name("mine").send().await.expect_err("not allowed");
    let code = refused.as_service_error().and_then(|error| error.meta().code());
    assert_eq!(code, Some("AccessDenied"), "{refused:?}");
}
