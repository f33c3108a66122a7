pub fn validate(_: &crate::Config, _: &mut base::Report){}
