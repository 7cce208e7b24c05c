use pileus_wire::model::Model;
pub fn model(_document: &serde_json::Value) -> Result<Model, String> {
    Ok(Model::default())
}
