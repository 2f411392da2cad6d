//! `GET /reset-password/{token}`. The tests of the page in a browser are in `tests/tests/browser`.

use tests::Stack;

// Requirement 33.
#[tokio::test]
async fn the_content_security_policy_allows_only_the_pages_own_script() {
    let stack = Stack::start().await;
    let page = stack.get("/reset-password/anything").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("anything"), "the token is not in the page");
}
