//! A certificate authority for the image's CA file.
//!
//! The SDK refuses to start its HTTP stack on an empty store, although nothing in the lab speaks TLS. A certificate of our own keeps the
//! layer's digest independent of the host; its key was never written anywhere.

/// A self-signed certificate that nothing can be signed with.
pub(super) const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBnTCCAUOgAwIBAgIUM0x8sYbqmtFx7X3NaJxsg5CXaNwwCgYIKoZIzj0EAwIw
IzEhMB8GA1UEAwwYam9iIGltYWdlLCBzaWducyBub3RoaW5nMCAXDTI2MTEyMTIx
MTM1NVoYDzIxMjYxMDI4MjExMzU1WjAjMSEwHwYDVQQDDBhqb2IgaW1hZ2UsIHNp
Z25zIG5vdGhpbmcwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASPGdncKdnkV7+6
G98+Um2Iupug5iEfEt/Wpqx9iA6dyJKgykN+9eG4V47ubtqp+XicqiCiKTYkp02z
5gUYX4DVo1MwUTAdBgNVHQ4EFgQU7pMxE9v4nc8VqR0vCHWB/weaHl4wHwYDVR0j
BBgwFoAU7pMxE9v4nc8VqR0vCHWB/weaHl4wDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNIADBFAiBmPYKeN/tCwj7BooMSUHpOzZ41WL7vHcl3EhlOQkzukgIh
AMZcEL0imr2mcjYmxWh05SHq1QCBEQ6ePWf6LWBXIrY5
-----END CERTIFICATE-----
";
