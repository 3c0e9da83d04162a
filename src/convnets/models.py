import torch
from torch import Tensor, nn
from torch.nn import functional as F

def _down(i,o,k,pool_first):
    conv=nn.Conv2d(i,o,k,padding=k//2)
    rest=[nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(conv, nn.MaxPool2d(2), *rest) if pool_first else nn.Sequential(conv,*rest,nn.MaxPool2d(2))

class RegressionCNN(nn.Module):
    def __init__(self, kernel_size=3, num_filters=32, pool_first=True):
        super().__init__()
        k=kernel_size; f=num_filters
        def up(i,o):
            r=[nn.BatchNorm2d(o), nn.ReLU()]
            u=[nn.Upsample(scale_factor=2)]
            return nn.Sequential(nn.Conv2d(i,o,k,padding=k//2), *(u+r if pool_first else r+u))
        self.downconv1=_down(1,f,k,pool_first)
        self.downconv2=_down(f,2*f,k,pool_first)
        self.rfconv=nn.Sequential(nn.Conv2d(2*f,2*f,k,padding=k//2),nn.BatchNorm2d(2*f),nn.ReLU())
        self.upconv1=up(2*f,f)
        self.upconv2=up(f,3)
        self.finalconv=nn.Conv2d(3,3,k,padding=k//2)
    def forward(self,x):
        return self.finalconv(self.upconv2(self.upconv1(self.rfconv(self.downconv2(self.downconv1(x))))))
