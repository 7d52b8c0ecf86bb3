//! What a TLS connection rests on: whom to trust, and what to show (RFC 5425, section 4.2).

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};
use zeroize::Zeroize as _;

use super::super::{
    SyslogConfig,
    private::{self, FileError, invalid},
};

/// Bytes of a file of certificates: more than all that a system trusts by default.
const MAX_CERTIFICATES_BYTES: usize = 1 << 20;
/// Bytes of a private key's file: RSA of 16384 bits takes less.
const MAX_KEY_BYTES: usize = 16 << 10;

/// Reads the files that the config names.
///
/// # Errors
/// With the key of the config and the file, and nothing of its content.
pub(super) fn client(config: &SyslogConfig) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(config)?);
    let client = match (&config.client_cert_file, &config.client_key_file) {
        (Some(chain), Some(key)) => {
            let chain = certificates("client_cert_file", chain)?;
            let shown = CertifiedKey::new(chain, private_key(key)?);
            if let Err(rustls::Error::InconsistentKeys(_)) = shown.keys_match() {
                let said = invalid("not the key of client_cert_file");
                return Err(private::wrong("client_key_file", key)(said).into());
            }
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(client))
}

fn roots(config: &SyslogConfig) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &config.ca_file {
        Some(path) => {
            for certificate in certificates("ca_file", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| private::wrong("ca_file", path)(io::Error::other(error)))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(invalid("the system has no certificates to trust; ca_file names some"));
            }
        }
    }
    Ok(roots)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let wrong = private::wrong(key, path);
    let pem = private::read(path, MAX_CERTIFICATES_BYTES).map_err(&wrong)?;
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        _ => Err(wrong(invalid("no certificates in PEM"))),
    }
}

fn private_key(path: &Path) -> Result<Arc<dyn rustls::sign::SigningKey>, FileError> {
    let wrong = private::wrong("client_key_file", path);
    let pem = private::secret(path, MAX_KEY_BYTES).map_err(&wrong)?;
    let unusable = || wrong(invalid("no private key in PEM that can be used"));
    let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable())?;
    let key = aws_lc_rs::sign::any_supported_type(&der);
    der.zeroize();
    key.map_err(|_| unusable())
}
