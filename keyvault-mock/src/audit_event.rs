//! The audit log. (server.rs calls: `AuditLog::record(&self, AuditEvent)`, one for every request that named an operation.)
