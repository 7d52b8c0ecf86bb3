mod formats;
mod streams;
mod tls;
