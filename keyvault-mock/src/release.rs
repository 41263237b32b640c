//! release
pub(crate) fn release(
    _: &crate::routes::Call<'_>,
) -> Result<crate::wire::Reply, crate::error::Refusal> {
    Err(crate::error::Refusal::not_emulated("release"))
}
