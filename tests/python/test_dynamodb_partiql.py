"""DynamoDB: PartiQL."""

import json

import pytest
from botocore.exceptions import ClientError
from conftest import error_code
from dynamo import invalid, make_table, n, refused, s


@pytest.fixture
def dynamodb(client):
    return client("dynamodb")


@pytest.fixture
def table(dynamodb):
    name = make_table(dynamodb, sort=("sk", "N"), indexes=[("by-owner", "owner", "sk")])
    for number in range(6):
        dynamodb.put_item(TableName=name, Item={"pk": s("a"), "sk": n(number), "owner": s(f"o{number % 2}"), "v": n(number * 10)})
    return name


def test_a_select_reads_what_a_query_would(dynamodb, table):
    run = lambda text, **more: dynamodb.execute_statement(Statement=text.replace("@", f'"{table}"'), **more)  # noqa: E731
    order = lambda answer: [int(item["sk"]["N"]) for item in answer["Items"]]  # noqa: E731
    assert order(run("SELECT * FROM @ WHERE pk = 'a' AND sk >= 2")) == [2, 3, 4, 5]
    assert order(run("SELECT * FROM @ WHERE pk = ? AND sk BETWEEN ? AND ?", Parameters=[s("a"), n(1), n(3)])) == [1, 2, 3]
    assert order(run("SELECT sk FROM @ WHERE pk = 'a' AND v > 25 ORDER BY sk DESC")) == [5, 4, 3]
    assert run("SELECT v, owner FROM @ WHERE pk = 'a' AND sk = 1")["Items"] == [{"v": n(10), "owner": s("o1")}]
    assert order(run("SELECT * FROM @.\"by-owner\" WHERE owner = 'o1'")) == [1, 3, 5]
    assert sorted(order(run("SELECT * FROM @ WHERE v IN [0, 50] OR owner IS MISSING"))) == [0, 5]
    first = run("SELECT * FROM @ WHERE pk = 'a'", Limit=4)
    second = run("SELECT * FROM @ WHERE pk = 'a'", NextToken=first["NextToken"])
    assert order(first) + order(second) == [0, 1, 2, 3, 4, 5] and "NextToken" not in second


def test_statements_change_items(dynamodb, table):
    run = lambda text, **more: dynamodb.execute_statement(Statement=text.replace("@", f'"{table}"'), **more)["Items"]  # noqa: E731
    insert = "INSERT INTO @ VALUE {'pk': 'b', 'sk': 1, 'list': [1, 'x'], 'tags': <<'p', 'q'>>, 'm': {'k': ?}}"
    assert run(insert, Parameters=[n(5)]) == []
    assert refused(run, text=insert, Parameters=[n(5)]) == ("DuplicateItemException", "Duplicate primary key exists in table")
    assert dynamodb.get_item(TableName=table, Key={"pk": s("b"), "sk": n(1)})["Item"]["m"] == {"M": {"k": n(5)}}
    changed = run("UPDATE @ SET m.k = m.k + 1 SET list = list_append(list, [?]) REMOVE tags WHERE pk = 'b' AND sk = 1 RETURNING ALL NEW *", Parameters=[s("y")])  # fmt: skip
    assert changed == [{"pk": s("b"), "sk": n(1), "list": {"L": [n(1), s("x"), s("y")]}, "m": {"M": {"k": n(6)}}}]
    assert error_code(run, text="UPDATE @ SET v = 1 WHERE pk = 'b' AND sk = 9") == "ConditionalCheckFailedException"
    assert error_code(run, text="DELETE FROM @ WHERE pk = 'b' AND sk = 1 AND m.k = 1") == "ConditionalCheckFailedException"
    assert run("DELETE FROM @ WHERE pk = 'b' AND sk = 1 RETURNING ALL OLD *")[0]["m"] == {"M": {"k": n(6)}}
    assert run("DELETE FROM @ WHERE pk = 'b' AND sk = 1") == []
    assert "mandatory equality on all key attributes" in invalid(run, text="DELETE FROM @ WHERE pk = 'b'")
    assert "wasn't well formed" in invalid(run, text="DROP @")
    assert error_code(dynamodb.execute_statement, Statement="SELECT * FROM nowhere") == "ResourceNotFoundException"


def test_a_batch_of_statements_does_each_on_its_own(dynamodb, table):
    select = {"Statement": f"SELECT * FROM \"{table}\" WHERE pk = 'a' AND sk = ?"}
    answer = dynamodb.batch_execute_statement(Statements=[{**select, "Parameters": [n(1)]}, {**select, "Parameters": [n(99)]}, {"Statement": f"SELECT * FROM \"{table}\" WHERE pk = 'a'"}])["Responses"]  # fmt: skip
    assert answer[0]["Item"]["v"] == n(10) and "Item" not in answer[1]
    assert answer[2]["Error"]["Code"] == "ValidationError"
    writes = [{"Statement": f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': {number}}}"} for number in (1, 50)]
    answer = dynamodb.batch_execute_statement(Statements=writes)["Responses"]
    assert answer[0]["Error"]["Code"] == "DuplicateItem" and "Error" not in answer[1]
    assert "all be reads" in invalid(dynamodb.batch_execute_statement, Statements=[{**select, "Parameters": [n(1)]}, writes[0]])


def test_a_transaction_of_statements_is_all_or_nothing(dynamodb, table):
    insert = {"Statement": f"INSERT INTO \"{table}\" VALUE {{'pk': 'c', 'sk': 1}}"}
    check = {"Statement": f"EXISTS(SELECT * FROM \"{table}\" WHERE pk = 'a' AND sk = 1 AND v = ?)"}
    with pytest.raises(ClientError) as caught:
        dynamodb.execute_transaction(TransactStatements=[insert, {**check, "Parameters": [n(11)]}])
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    dynamodb.execute_transaction(TransactStatements=[insert, {**check, "Parameters": [n(10)]}])
    reads = [{"Statement": f"SELECT * FROM \"{table}\" WHERE pk = 'c' AND sk = {number}"} for number in (1, 2)]
    assert dynamodb.execute_transaction(TransactStatements=reads)["Responses"] == [{"Item": {"pk": s("c"), "sk": n(1)}}, {}]
    assert "only reads or only writes" in invalid(dynamodb.execute_transaction, TransactStatements=[insert, reads[0]])


def test_statements_need_permission_for_what_they_do(node, dynamodb, table):
    iam = node.client("iam")
    iam.create_user(UserName="partiql")
    key = iam.create_access_key(UserName="partiql")["AccessKey"]
    statement = {"Effect": "Allow", "Action": "dynamodb:PartiQLSelect", "Resource": f"arn:aws:dynamodb:*:*:table/{table}"}
    iam.put_user_policy(UserName="partiql", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))  # fmt: skip
    user = node.client("dynamodb", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    select = f"SELECT * FROM \"{table}\" WHERE pk = 'a'"
    assert len(user.execute_statement(Statement=select)["Items"]) == 6
    insert = f"INSERT INTO \"{table}\" VALUE ?"
    item = {"M": {"pk": s("x"), "sk": n(1)}}
    denied = "AccessDeniedException"
    assert error_code(user.execute_statement, Statement=insert, Parameters=[item]) == denied
    assert error_code(user.batch_execute_statement, Statements=[{"Statement": insert, "Parameters": [item]}]) == denied
    assert error_code(user.execute_transaction, TransactStatements=[{"Statement": insert, "Parameters": [item]}]) == denied
    assert error_code(user.execute_statement, Statement=f'SELECT * FROM "{table}"."by-owner"') == denied


def test_a_policy_limits_statements_to_ones_own_items(node, dynamodb, table):
    iam = node.client("iam")
    iam.create_user(UserName="partiql-ann")
    own = {
        "Effect": "Allow",
        "Action": "dynamodb:PartiQL*",
        "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["ann"]}},
    }
    no_scans = {
        "Effect": "Deny",
        "Action": "dynamodb:PartiQLSelect",
        "Resource": "*",
        "Condition": {"Bool": {"dynamodb:FullTableScan": ["true"]}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [own, no_scans]})
    iam.put_user_policy(UserName="partiql-ann", PolicyName="own", PolicyDocument=policy)
    key = iam.create_access_key(UserName="partiql-ann")["AccessKey"]
    ann = node.client("dynamodb", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    run = lambda text, *values: ann.execute_statement(Statement=text, **({"Parameters": list(values)} if values else {}))  # noqa: E731
    run(f"INSERT INTO \"{table}\" VALUE {{'pk': 'ann', 'sk': 1}}")
    assert run(f'SELECT * FROM "{table}" WHERE pk = ?', s("ann"))["Items"] == [{"pk": s("ann"), "sk": n(1)}]
    run(f'UPDATE "{table}" SET v = 1 WHERE pk = ? AND sk = 1', s("ann"))
    for text in (
        f'SELECT * FROM "{table}"',
        f"SELECT * FROM \"{table}\" WHERE pk = 'bob'",
        f"INSERT INTO \"{table}\" VALUE {{'pk': 'bob', 'sk': 1}}",
        f"UPDATE \"{table}\" SET v = 1 WHERE pk = 'bob' AND sk = 1",
        f"DELETE FROM \"{table}\" WHERE pk = 'bob' AND sk = 1",
    ):
        assert error_code(run, text) == "AccessDeniedException", text
