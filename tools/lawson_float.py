import numpy as np, math
half=0.5+2**-12
x=np.cos(np.pi*(np.arange(801)+.5)/801)*half
t=np.expm1(x*math.log(2))/x
w0=np.abs(x)/2.0**x
def lawson(x,res,w,powers,it=400):
    lam=np.ones_like(x); 
    A=np.stack([x**p for p in powers],1)
    best=None
    for k in range(it):
        s=np.sqrt(lam)*w
        c=np.linalg.lstsq(A*s[:,None],res*s,rcond=None)[0]
        e=np.abs(w*(A@c-res)); m=e.max()
        if best is None or m<best[0]: best=(m,c)
        lam*=e/m; lam/=lam.max(); lam=np.maximum(lam,1e-14)
    return best
fixed=[]
for st in range(6):
    res=t-sum((c*x**p for p,c in enumerate(fixed)),np.zeros_like(x))
    m,c=lawson(x,res,w0,list(range(st,6)))
    print(st,math.log2(m))
    fixed.append(float(np.float32(c[0])))
print(math.log2(np.max(w0*np.abs(sum(c*x**p for p,c in enumerate(fixed))-t))),[c.hex() for c in fixed])
sk=[float.fromhex(h) for h in "0x1.62e430p-1 0x1.ebfbe0p-3 0x1.c6af6cp-5 0x1.3b2a54p-7 0x1.5f0890p-10 0x1.44138ap-13".split()]
print(math.log2(np.max(w0*np.abs(sum(c*x**p for p,c in enumerate(sk))-t))))
