(module
  (func $mix (param i32 i32) (result i32)
    (i32.xor (i32.rotl (local.get 0) (i32.const 5)) (local.get 1)))
  (func (export "run") (result i32) (local i32 i32)
    (loop $again
      (local.set 0 (i32.add (local.get 0) (i32.const 1)))
      (local.set 1 (i32.mul (local.get 1) (i32.const 31)))
      (if (i32.and (local.get 0) (i32.const 7))
        (then (local.set 1 (i32.add (local.get 1) (local.get 0))))
        (else (local.set 1 (call $mix (local.get 1) (local.get 0)))))
      (br $again))
    (unreachable)))
