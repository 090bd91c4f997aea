//! Whose certificates a connection trusts: the computer's authorities'. They are read once, when the first server has to
//! prove itself; plain HTTP, which is all that a system on one computer speaks, needs none of them.

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// How TLS is spoken, with these protocols on top, the dearest first.
pub(super) fn configuration(protocols: &[&str]) -> ClientConfig {
    static PLAIN: LazyLock<ClientConfig> = LazyLock::new(|| {
        let trust = Arc::new(Trust::new());
        let provider = Arc::clone(&trust.provider);
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider speaks the usual versions");
        builder.dangerous().with_custom_certificate_verifier(trust).with_no_client_auth()
    });
    let mut configuration = PLAIN.clone();
    configuration.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    configuration
}

/// The computer's authorities, once they are read.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    authorities: OnceLock<Verifier>,
}

impl Trust {
    fn new() -> Self {
        Self { provider: Arc::new(aws_lc_rs::default_provider()), authorities: OnceLock::new() }
    }

    fn authorities(&self) -> Result<&Verifier, Error> {
        if let Some(authorities) = self.authorities.get() {
            return Ok(authorities);
        }
        // What went wrong may pass: the next connection tries again.
        let read = Verifier::new(Arc::clone(&self.provider))?;
        Ok(self.authorities.get_or_init(|| read))
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.authorities()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_are_read_when_a_server_has_to_prove_itself_and_not_before() {
        let trust = Trust::new();
        assert!(!trust.supported_verify_schemes().is_empty());
        assert!(trust.authorities.get().is_none());
        let nobodys = CertificateDer::from(vec![0x30, 0x00]);
        let name = ServerName::try_from("example.org").expect("a name");
        assert!(trust.verify_server_cert(&nobodys, &[], &name, &[], UnixTime::now()).is_err());
        assert!(trust.authorities.get().is_some());
    }
}
