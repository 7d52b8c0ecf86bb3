//! What a TLS connection rests on: whom to trust, and what to show (RFC 5425, section 4.2).

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::super::SyslogConfig;

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
            let named = |error| named("client_cert_file", chain, &error);
            let chain_der = certificates(chain).map_err(named)?;
            let key =
                private_key(key).map_err(|error| self::named("client_key_file", key, &error))?;
            let shown = CertifiedKey::new(chain_der, key);
            if let Err(rustls::Error::InconsistentKeys(_)) = shown.keys_match() {
                return Err(named(invalid("client_key_file is not its key")));
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
            let named = |error| named("ca_file", path, &error);
            for certificate in certificates(path).map_err(named)? {
                roots.add(certificate).map_err(|error| named(io::Error::other(error)))?;
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

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let (pem, _) = read(path, MAX_CERTIFICATES_BYTES)?;
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        _ => Err(invalid("no certificates in PEM")),
    }
}

fn private_key(path: &Path) -> io::Result<Arc<dyn rustls::sign::SigningKey>> {
    let (pem, mode) = read(path, MAX_KEY_BYTES)?;
    if mode & 0o077 != 0 {
        return Err(invalid(&format!("others may read or write it (mode {mode:03o})")));
    }
    let unusable = || invalid("no private key in PEM that can be used");
    let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unusable())?;
    let key = aws_lc_rs::sign::any_supported_type(&der);
    der.zeroize();
    key.map_err(|_| unusable())
}

/// A regular file's content and permission bits.
fn read(path: &Path, max: usize) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    // Opening a named pipe would wait for a writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(invalid("not a regular file"));
    }
    // Growing would leave a copy of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max.min(metadata.len() as usize) + 2));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > max {
        true => Err(invalid(&format!("more than {max} bytes"))),
        false => Ok((bytes, metadata.mode() & 0o777)),
    }
}

fn invalid(said: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, said)
}

fn named(key: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key} {}: {error}", path.display()))
}
