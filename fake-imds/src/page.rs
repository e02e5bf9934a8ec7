//! The bodies of error answers. It must not know when they are given.

/// The body of a 404: 339 bytes, as captured from EC2.
pub const NOT_FOUND: &str = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>
<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"
\t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">
<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">
 <head>
  <title>404 - Not Found</title>
 </head>
 <body>
  <h1>404 - Not Found</h1>
 </body>
</html>
";

/// The body of amazon-ec2-metadata-mock's 404: one tab less.
pub const AEMM_NOT_FOUND: &str = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>
<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"
\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">
<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">
 <head>
  <title>404 - Not Found</title>
 </head>
 <body>
  <h1>404 - Not Found</h1>
 </body>
</html>
";

/// The page of a 404 with another title, for statuses of which no capture is known.
pub fn ec2(status: u16, phrase: &str) -> String {
    NOT_FOUND.replace("404 - Not Found", &format!("{status} - {phrase}"))
}

/// An error page laid out as amazon-ec2-metadata-mock's (its `401_response.golden`).
pub fn aemm(status: u16, phrase: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
         \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n   <head>\n      \
         <title>{status} - {phrase}</title>\n   </head>\n   <body>\n      <h1>{status} - {phrase}</h1>\n   </body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_404_page_has_the_captured_length() {
        assert_eq!(NOT_FOUND.len(), 339);
        assert_eq!(aemm(401, "Unauthorized").len(), 353);
    }
}
